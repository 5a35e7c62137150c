// Starts Swagger UI, which the page has loaded from elsewhere; says so where it did not come, or was not what is known of it.

const start = window.SwaggerUIBundle;
if (start) {
  start({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    validatorUrl: null, // which would send the address of the description to others
  });
}
document.querySelector("#docs-missing").hidden = Boolean(start);
