"""MLflow's scoring protocol and the Open Inference Protocol, over REST and gRPC. No I/O."""
