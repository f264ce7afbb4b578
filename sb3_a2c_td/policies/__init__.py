"""Policies whose actor and critic share no parameters."""
