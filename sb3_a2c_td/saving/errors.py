"""Why a saved model is not read."""


class UntrustedCheckpointError(ValueError):
    """A file holds more than saved models need: to load it could run code that it holds."""


class UnreadableCheckpointError(ValueError):
    """A file is damaged, or no model of TDA2C, or one of a newer version of this package."""
