"""The stores Afterword ships; each passes `afterword.testing.check_store`."""
