"""The actor: plays every environment one tick at a time by search with the newest weights."""
