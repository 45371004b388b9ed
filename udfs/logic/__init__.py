"""Pure machines of the job: plain Python, time is an argument, no pyflink."""
