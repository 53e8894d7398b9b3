"""Injectors that an application makes itself: `Afterword(app, injectors=[WireupInjector(...)])`."""
