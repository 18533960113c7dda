"""What crosses between the roles of a run, however it is carried: records, edges, pacing, role states."""
