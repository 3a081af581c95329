"""The local machine: releases as processes, and the processes of Serinus itself."""
