"""Whether what an audit decides can be trusted: alarms of a gate on equal models, and drift of reasons that is seen."""
