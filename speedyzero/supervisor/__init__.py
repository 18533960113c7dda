"""The supervisor: builds the roles of a run, keeps its directory, and ends it."""
