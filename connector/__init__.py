"""What crosses the boundary of a job: the wire contract, snapshots, topics, errors. No pyflink, no machine learning."""
