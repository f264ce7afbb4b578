"""The transitions of a rollout, and checks of what environments return."""
