/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git's credential helpers (git-credential(1), gitcredentials(7)), asked through `git credential`,
 * so that the user's configuration of git says which there are. Nobody is asked at a terminal or in
 * a window. Secrets go through pipes, never into arguments or the environment.
 *
 * Thread rule: one thread at a time.
 */
#ifndef MODELDISK_CREDENTIAL_HELPER_H
#define MODELDISK_CREDENTIAL_HELPER_H

#include "url.h"

/*
 * What the helpers have for u (its user, if it has one): 1 with *user and *password, both
 * secret_free()'s; 0 if they have nothing, there is no git, or none of it within
 * CREDENTIAL_HELPER_TIMEOUT_S seconds. -ENOMEM and no other error: a helper that does not work is
 * none. Repositories around the current directory have no say.
 */
#define CREDENTIAL_HELPER_TIMEOUT_S 30
int credential_helper_fill(const struct url *u, char **user, char **password) MUST_CHECK;

/* Tells them that the server took this, or did not; whether they listen is theirs. */
void credential_helper_tell(const struct url *u, const char *user, const char *password,
                            bool was_accepted);

#endif
