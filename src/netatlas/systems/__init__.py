"""Published systems: what each claims, and what it reaches here."""
