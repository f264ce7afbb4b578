"""What goes wrong around a training: exceptions, lost worker processes, Ctrl-C."""
