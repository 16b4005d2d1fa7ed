"""The store, the query language, find, cards, comparisons, build and measurement."""
