"""Records on disk, in the order in which they came: files of frames, and what is in a frame."""
