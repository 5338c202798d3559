/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODELDISK_OPS_H
#define MODELDISK_OPS_H

#endif
