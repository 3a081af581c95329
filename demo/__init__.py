"""`make demo`: a champion, a better model, and two that must not get through, on real card transactions."""
