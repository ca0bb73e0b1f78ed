"""Errors that reach a person: one sentence with the bad value, what is valid, and what to do next."""


class TmrlError(Exception):
    """Base of every expected failure; entry points print it as one line and exit with status 2."""


class ConfigError(TmrlError):
    """A parameter is unknown, of the wrong type, or unsafe."""


class DataError(TmrlError):
    """A demonstration store, bag or checkpoint is missing, damaged, or does not fit."""


class ActionError(TmrlError):
    """An action, chunk or command that must not run."""


class FrameError(TmrlError):
    """A camera image, or a set of them, that must not become an observation."""


class CalibrationError(TmrlError):
    """A camera calibration that is bad, damaged, or not the one that belongs to the data."""
