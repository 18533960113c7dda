"""What crosses between the roles of a run, whoever carries it: records, edges, pacing, a role's saved state."""
