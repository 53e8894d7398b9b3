"""Injectors for `Afterword(app, injectors=[WireupInjector(...)])`."""
