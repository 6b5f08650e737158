"""The bridge to a real robot: codecs, link, measurement, and an emulated robot to try them with."""
