#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# manual.sh MD2MAN VERSION NAME.1.md: the man page on stdout. The first line, "# NAME(1)", becomes its title.
name=$(basename "$3" .1.md)
sed "1s/.*/# \"$name\" \"1\" \"\" \"modeldisk $2\" \"User Commands\"/" "$3" | "$1"
