"""Running one function over many items: here, in local processes, or on a cluster."""
