"""`python -m serinus.targets.kubernetes.control` is the first process of a control plane's container."""

from serinus.targets.kubernetes.control.starting import main

if __name__ == "__main__":
    main()
