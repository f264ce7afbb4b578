"""The error raised when an actor cannot be exported."""


class ExportError(RuntimeError):
    """The actor cannot be exported, or the exported one differs from the model. No file was written."""
