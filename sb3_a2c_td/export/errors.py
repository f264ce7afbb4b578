"""Why an actor is not exported."""


class ExportError(RuntimeError):
    """An actor cannot be exported, or what was exported acts otherwise than the model; no file was written."""
