"""The one place that knows every part: plans from the configuration, builds, starts, stops."""
