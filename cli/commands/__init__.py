"""One module for each command or small family of commands, imported when it is called and not before."""
