# Sourced by the other scripts here, from the checkout's top: install a system's package where that is allowed, else name
# the command. SYSTEM=no leaves the system alone. Whoever sources it has `say`.

system_package() { # $1: what is missing, $2: the package, $3: what for, $4: what shows that it is there and works
    probe=${4:-command -v $1}
    if $probe >/dev/null 2>&1 || PATH="/usr/bin:$PATH" $probe >/dev/null 2>&1; then return; fi
    if command -v brew >/dev/null; then how="brew install $2"
    elif command -v apt-get >/dev/null; then how="apt-get install -y --no-install-recommends $2"
    elif command -v dnf >/dev/null; then how="dnf install -y $2"
    elif command -v pacman >/dev/null; then how="pacman -S --noconfirm $2"
    else say "$1 is missing ($3); install $2"; return; fi
    may=
    if [ "${how%% *}" = brew ]; then may=yes
    elif [ "$(id -u)" = 0 ]; then may=yes
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then may=yes how="sudo -n $how"
    else how="sudo $how"; fi
    if [ -n "$may" ] && [ "${SYSTEM:-yes}" != no ]; then
        say "installing $2 ($3) ..."
        if DEBIAN_FRONTEND=noninteractive $how >> .venv/setup.log 2>&1 </dev/null && PATH="/usr/bin:$PATH" $probe >/dev/null 2>&1; then return; fi
    fi
    say "$1 is missing ($3); Tandem goes on without it. To install it: $how"
}
