"""How fires heat and smoke a ceiling, and how detectors follow. Pure."""
