"""The injector of Dishka."""

from afterword.injection.injectors.dishka import DishkaInjector

__all__ = ["DishkaInjector"]
