"""Router and worker as services of this user: what is written for launchd and systemd, and how it is put in place."""
