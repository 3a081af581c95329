"""What runs inside a model's environment: loads one MLflow model and answers for it. Standard library alone.

    worker       main(): one model, one process, one thread, behind a Unix socket
    scan         main(): what a model's pickles would import; loads nothing
    reference    main(): the scores of the training path, for the gates

Libraries that belong to the model (mlflow, numpy, pandas) are imported from its own environment, at load, by name.
"""

__version__ = "0.1.0"
