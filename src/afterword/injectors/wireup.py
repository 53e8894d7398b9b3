"""The injector of Wireup."""

from afterword.injection.injectors.wireup import WireupInjector

__all__ = ["WireupInjector"]
