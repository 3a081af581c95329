"""Records on disk in the order of their arrival: files of frames, and the contents of a frame."""
