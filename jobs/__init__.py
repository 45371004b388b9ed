"""What runs on a cluster: the command line, the SQL-script runner, the packaged recipes."""
