/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODELDISK_DAEMON_H
#define MODELDISK_DAEMON_H

#endif
