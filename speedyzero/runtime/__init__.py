"""Carries records and runs roles: as processes over shared memory, or in one process."""
