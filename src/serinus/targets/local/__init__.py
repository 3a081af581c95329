"""One machine: releases as processes, and the processes of Serinus themselves."""
