"""New code for agents that live: loaded beside the old, compared, and put in its place all at once or not at all."""
