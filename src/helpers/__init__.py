"""The shared logic of the executable paper; import its modules one by one."""

#: Stands on every page, every model card and every overlay.
STATEMENT = "Research software. Not for clinical use."
