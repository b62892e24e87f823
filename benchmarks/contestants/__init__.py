"""The code that is compared: what users write by hand, other libraries, and ours. Each runs in a process of its own."""
