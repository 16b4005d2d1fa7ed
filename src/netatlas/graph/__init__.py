"""Operator graphs: tracing, import, canonical form, costs, named forms, structure and drawing."""
