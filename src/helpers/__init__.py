"""The shared logic of the executable paper; import its modules one by one."""
