"""The fleet repository: specs and what is live, with author and reason, as commits of a Git repository.

command       the git command line
repository    a bare repository, also as the copy of a branch on a server
remote        the server, and what it answers, in words
merging       what people have changed
fleet         specs, and what is live
rendered      manifests that Argo CD applies
bundles       a repository as one file
checkout      a person's checkout, and what a change in it would bring
"""

from serinus.backends.git.checkout import Checkout
from serinus.backends.git.fleet import Change, GitFleet
from serinus.backends.git.remote import Overtaken, Remote
from serinus.backends.git.rendered import GitRendered

__all__ = ["Change", "Checkout", "GitFleet", "GitRendered", "Overtaken", "Remote"]
