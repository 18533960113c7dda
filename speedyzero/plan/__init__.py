"""How fast a run will be, before it starts: operations, what they cost, and which process sets the pace."""
