/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys for tests, secret to nobody, and a directory that holds them as files. The other certificate
 * has the same issuer and serial number, by which PKCS#7 names certificates, and another key.
 */
#ifndef MODELDISK_SIGNER_H
#define MODELDISK_SIGNER_H

/* clang-format off */
#define SIGNER_KEY \
	"-----BEGIN PRIVATE KEY-----\n" \
	"MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQC/NaWR3BcRdI1v\n" \
	"1swfM5g+lxTxghMq5FPWeDkTonev7898vJzuj+BK5pNXiXhr5R9aEC6pshLtKm5R\n" \
	"4DFQW3Fcg2zot0UJSp6e2oXmAkuO24+djIx3OcjY6n8kE7Br6vvDzyOmxFtfJTr0\n" \
	"TQdNRmaDmlA/mLJbAWs7XsubHzZ1xemTSuUmXhP8iDkBUssK20d3rnJ4+G6HXdyX\n" \
	"jz0KSLCKXV8Zaspt1j59sOx/B9qw6HMKRNaAz1SXVwB+ZSKiS0mSaKbWu5xrHw1N\n" \
	"2LXgng3c+jnE8LkAuc3doz6SG3EYZr4mPA1JVXifgoRDfJJUnJUN6DE69pAV9m2B\n" \
	"ZDL3tuT5AgMBAAECgf9jVnuuS6mwZ90TPYTOsP9nhRZcYjeTEQx9X/hHOyDzRqOF\n" \
	"KnhdeGIOh7wEvmbRpzeiksWrY9hxXpnx74evN9KtPZpXTN+Q9DN0VBM8a/TVQzxZ\n" \
	"natcRakTCMEE/TWq22nxUKw0986An9cBFQO2Id0gggsu/yWqIhKTxawB6zVf+YsJ\n" \
	"jzi6lniv6jATu4lljqw6Z7GSOoMTWF4wB6y9uEs3qw2mPdVqv5Wff3d7GpumvEm4\n" \
	"nndsFeheZ0LS5JvxA9hg5K7QxxgU00QJTjidbNYEsrnL7q2+OUfSwfyqY9+YY3CP\n" \
	"J6oR4FQsxUnRe8p1/LaDGNIV2PozuHbFw2Vdn4ECgYEA94ZgkO5Y+HdCiS/Cthri\n" \
	"gkHxHAMKgp4/RBCssboDE5zpgSob/Ykw5qAvWukofie0TzlybBxmbgwFHqLEm4Uo\n" \
	"sE8AgaQJJa88k/0oXmMSMeJD3uHFxGiqUY7mhelW+8S+H1zmdgO9WSSga/yfhCtM\n" \
	"mFZQ8bgUaYtxAy3k2YK05MkCgYEAxcGmdk98D3FH2i4baWFazVJ2RS7ccCMjhEDT\n" \
	"aRuK1srhD15hHmR861ximVNUmpndo+YshUKgFco9bAHTqhQ8CCUc9aNf3vHvR4lV\n" \
	"YUR7l8HdWAKfdEGhuc+gNuHJMfyJwYirxvWi54/dWoL4wUacpSO/B1dAWH2hAW/u\n" \
	"qg0IBrECgYEAkb/gkLaoUPX4ictDvfMquUSW8sWfpLYFztB6v9QmB6B3poTjInFs\n" \
	"CAD+oWt1WoOKmrPa+mnmrpoJUbbKSkEoali6lZu/fx8mboW9BYcUqabwDAepajOv\n" \
	"RoL8npF9lJaO1OzhD1C4aAs3Ix8H1s2gNnttAkhATL28+ABIJwPd/HECgYBdxi9O\n" \
	"aPCWTgxZbIW5Gd46AMFumwMS9cawvyDA9buHkRrZ89Iv3EzUOrHSrQ4wZYgRYWN5\n" \
	"KZfJ3WX04oThYMj6v8aUwI0Epkrl7DydbCEDXH2+bzf3o+uxtb/uZnDGkE8ug8WZ\n" \
	"Cf/euHypn/OfiwFa2bGLJJexnpkLmm1dG+LTcQKBgQCR+JLMWlZ2JExoGBVVxtdq\n" \
	"Qtm6Mpn3MkjByjKLfJn2FeqRcYHHX5dyGhsWrBK9ik78XqidkPkIz9CbJhtR9bgh\n" \
	"q9AMkTMaQ3UuR4Ly6dZsQBxluOvSgI04TAvWfzqxezbANAbTqR+ExYHLqPoadiPS\n" \
	"ZQcg8bOOjaizWytld/XXIw==\n" \
	"-----END PRIVATE KEY-----\n"
#define SIGNER_CERTIFICATE \
	"-----BEGIN CERTIFICATE-----\n" \
	"MIIDJjCCAg6gAwIBAgIBATANBgkqhkiG9w0BAQsFADArMSkwJwYDVQQDDCBtb2Rl\n" \
	"bGRpc2sgdGVzdCwgc2VjcmV0IHRvIG5vYm9keTAgFw0yNjExMjMxNDIwMDhaGA8y\n" \
	"MTI2MTAzMDE0MjAwOFowKzEpMCcGA1UEAwwgbW9kZWxkaXNrIHRlc3QsIHNlY3Jl\n" \
	"dCB0byBub2JvZHkwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQC/NaWR\n" \
	"3BcRdI1v1swfM5g+lxTxghMq5FPWeDkTonev7898vJzuj+BK5pNXiXhr5R9aEC6p\n" \
	"shLtKm5R4DFQW3Fcg2zot0UJSp6e2oXmAkuO24+djIx3OcjY6n8kE7Br6vvDzyOm\n" \
	"xFtfJTr0TQdNRmaDmlA/mLJbAWs7XsubHzZ1xemTSuUmXhP8iDkBUssK20d3rnJ4\n" \
	"+G6HXdyXjz0KSLCKXV8Zaspt1j59sOx/B9qw6HMKRNaAz1SXVwB+ZSKiS0mSaKbW\n" \
	"u5xrHw1N2LXgng3c+jnE8LkAuc3doz6SG3EYZr4mPA1JVXifgoRDfJJUnJUN6DE6\n" \
	"9pAV9m2BZDL3tuT5AgMBAAGjUzBRMB0GA1UdDgQWBBRdHH/RJhuGLvZDCqu+6xML\n" \
	"WHACHjAfBgNVHSMEGDAWgBRdHH/RJhuGLvZDCqu+6xMLWHACHjAPBgNVHRMBAf8E\n" \
	"BTADAQH/MA0GCSqGSIb3DQEBCwUAA4IBAQCVXEJOXTIqQo7RfdrupKCTi/DWVxfH\n" \
	"p171FGdpUEPK4wvlJglNKeUu+AFIEbwFU3F7PNT7JsKgf1d20mBKnC1TV/33CCUT\n" \
	"aCqByP/1Qf3KWpG38PvN9/WUi6iLONBiYKEPIbe+BUo0R5pVAx6riX9+VY/N22jU\n" \
	"NlI35jiCGeJxhGU+Khe/F46uGmWx5o0rGyNqR0xSZftsFiqcl4Gt587zCdqM15k9\n" \
	"K7PXIWq0jx0ozO2amvd+NV8lXynaD7XHG3kBQ+gzHfZIOV8c87h4JVUbE28wNpjM\n" \
	"hu/4+p7a12RoW9P3ls0czjC3kLXuUjQqBcLNzE+txvIde3PTyAhGvww4\n" \
	"-----END CERTIFICATE-----\n"
#define SIGNER_OTHER_CERTIFICATE \
	"-----BEGIN CERTIFICATE-----\n" \
	"MIIDJjCCAg6gAwIBAgIBATANBgkqhkiG9w0BAQsFADArMSkwJwYDVQQDDCBtb2Rl\n" \
	"bGRpc2sgdGVzdCwgc2VjcmV0IHRvIG5vYm9keTAgFw0yNjExMjMxNDIwMDhaGA8y\n" \
	"MTI2MTAzMDE0MjAwOFowKzEpMCcGA1UEAwwgbW9kZWxkaXNrIHRlc3QsIHNlY3Jl\n" \
	"dCB0byBub2JvZHkwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCPIffo\n" \
	"+EsBM77LjFKaSvnhonupUYdaItkvdezIUSSunBVS1/dv1abeagxyFLFXtaxImQyx\n" \
	"OMvtryvVXUd6DDbeMyfusdGasi/w0sgNsZhYsY2KrPIT36DxixRcmDloVZoE1eeD\n" \
	"HJLhxzUrMiM8GqbsNFmM3l04PMTROE1Rbk4sOeVCdsoOqzNTSql+GXa16dEe0oDk\n" \
	"c/XRYebaXZj6gz099fd6v1zapmnOmCyEg0PAFcfpAPGx4IHilWRXzt+epGifjJZM\n" \
	"4eOTp46rLv33szuxR6p7SAfs8lRIphzhYp0wmJORCUr5AVSfE9YbjQxHaMDhCJSz\n" \
	"Y76Qtu0E0r4TUAVBAgMBAAGjUzBRMB0GA1UdDgQWBBT0Lacg6Sma5kIAndZ1CJdL\n" \
	"Fwy4MTAfBgNVHSMEGDAWgBT0Lacg6Sma5kIAndZ1CJdLFwy4MTAPBgNVHRMBAf8E\n" \
	"BTADAQH/MA0GCSqGSIb3DQEBCwUAA4IBAQBhHW9LXdfhu8zQKBqTtFLKpxKZcECs\n" \
	"7p2LuMWkRgjTy/kGMDEjIzn9Z8P2Um6r2OJTnNsUOQ16Mpgii25+OmnmXSmdewZi\n" \
	"FR+aIQRd2xEYghAFl42wayd/fG0M1w0tdJsUVai3Kibfc4uIeckfnq9hGfTcivNh\n" \
	"7vxpgjuWxby1Fb8Lr6FwY5ItXdXNdETEc8mowiJ9s8cKTqwN6gBXdmhKTE2Oikhm\n" \
	"pilrSkSRpOM23fngp7pc8zt6bUrQDc4WhecdJJQ+5rwOpb3T5cHemjOWx5B9IjNW\n" \
	"69cZ9L6MWZm9bfln/sVc0c2rM/035HRU6e8u412Lw0KJCuf3GFdxL+uc\n" \
	"-----END CERTIFICATE-----\n"
#define SIGNER_EC_KEY \
	"-----BEGIN EC PRIVATE KEY-----\n" \
	"MHcCAQEEIJZ11LNJ76/N4qNUwYKd/vpCwC5b9LUI6HF/ddf8BsRxoAoGCCqGSM49\n" \
	"AwEHoUQDQgAE3h8jYrB6QEx/kZrGAScSfZ4BTlD6koSt8imwsEPKSoPlyBioShTl\n" \
	"wGsIysZDBfWy/XXFA2OUdGJ0RJcAKF9M8Q==\n" \
	"-----END EC PRIVATE KEY-----\n"
/* clang-format on */

#endif
