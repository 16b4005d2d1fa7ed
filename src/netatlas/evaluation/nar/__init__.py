"""Neural architecture retrieval: collections of graphs, and protocols that ask for what is alike."""
