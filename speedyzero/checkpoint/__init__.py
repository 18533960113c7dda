"""Files that outlive a run: weights and scores, each whole or refused."""
